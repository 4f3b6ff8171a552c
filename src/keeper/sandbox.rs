//! How an engine gives up what it does not need before the first frame: user, capabilities, new
//! privileges, the file system (Landlock, where the kernel has it) and system calls (seccomp).
//! capabilities(7), landlock(7), seccomp(2); RELIABILITY.md 8.
//!
//! All of it is of the calling thread and of threads that it starts later: to be called while there
//! is one thread. The ports need no right any more: the keeper opened them.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// What an engine may still do.
pub struct Leave {
    /// User to become, where this process is root's.
    pub user: Option<User>,
    /// Folders in which files and folders may be made, written and moved.
    pub writable: Vec<PathBuf>,
    /// Files that may be written.
    pub files: Vec<PathBuf>,
}

/// A user by numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What was given up, for the start message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Given {
    /// User that it runs as from now on.
    pub uid: u32,
    /// Landlock version, 0 where the kernel has none.
    pub landlock: u32,
    /// Whether system calls are filtered.
    pub seccomp: bool,
}

impl User {
    /// A user by name, from the system's list.
    pub fn named(name: &str) -> Option<User> {
        let name = CString::new(name).ok()?;
        // SAFETY: a NUL-terminated name; the record that is found stays valid until the next such
        // call, and is read at once. Called while there is one thread.
        unsafe {
            let found = libc::getpwnam(name.as_ptr());
            (!found.is_null()).then(|| User {
                uid: (*found).pw_uid,
                gid: (*found).pw_gid,
            })
        }
    }

    /// Makes a folder this user's, and gives it opened. What stands there may have been put there by an
    /// engine of this user's: nothing that a link names is touched (path_resolution(7)).
    ///
    /// # Errors
    /// What the kernel says; it is a link, or no folder.
    pub fn own_folder(self, path: &Path) -> io::Result<Opened> {
        let folder = opened(path, libc::O_DIRECTORY)?;
        fchown(&folder, Some(self.uid), Some(self.gid))?;
        Ok(Opened(folder))
    }

    /// The same for a file that has this one name.
    ///
    /// # Errors
    /// What the kernel says; it is a link, or no file, or has other names.
    pub fn own_file(self, path: &Path) -> io::Result<()> {
        // A pipe would wait for its other end.
        let file = opened(path, libc::O_NONBLOCK)?;
        let found = file.metadata()?;
        if !found.is_file() || found.nlink() > 1 {
            let what = "no file of its own: it is something else, or has a second name";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        fchown(&file, Some(self.uid), Some(self.gid))
    }
}

/// A folder that nobody can put another in the place of.
pub struct Opened(File);

impl Opened {
    /// Its path for this process, whatever became of its name (proc_pid_fd(5)).
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Opens what a name stands for, if that is no link.
fn opened(path: &Path, flags: i32) -> io::Result<File> {
    let mut options = File::options();
    options
        .read(true)
        .custom_flags(flags | libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options.open(path)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Gives up everything that `leave` does not name.
///
/// # Errors
/// A step that the system refuses: better no engine than one with rights that nobody expects.
pub fn enter(leave: &Leave) -> io::Result<Given> {
    let landlock = landlock(leave)?;
    if let Some(user) = leave.user {
        become_user(user)?;
    }
    no_more_privileges()?;
    filter_calls()?;
    Ok(Given {
        // SAFETY: no arguments.
        uid: unsafe { libc::geteuid() },
        landlock,
        seccomp: true,
    })
}

fn become_user(user: User) -> io::Result<()> {
    // The bounding set first: it takes a capability to give it up.
    for capability in 0..64 {
        // SAFETY: no memory is passed. Numbers beyond the kernel's last are refused, and that ends
        // the list.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            break;
        }
    }
    // SAFETY: an empty list of groups; no memory is passed. From another user than root all
    // capabilities are gone with the user (capabilities(7)).
    unsafe {
        check(libc::setgroups(0, std::ptr::null()).into())?;
        check(libc::setresgid(user.gid, user.gid, user.gid).into())?;
        check(libc::setresuid(user.uid, user.uid, user.uid).into())?;
        // The kernel forgets it when the user changes.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL).into())?;
    }
    Ok(())
}

fn no_more_privileges() -> io::Result<()> {
    let nothing = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid rlimit that outlives the call; the prctl calls pass no memory. What frames
    // carry must not land in a core file.
    unsafe {
        check(libc::setrlimit(libc::RLIMIT_CORE, &nothing).into())?;
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0).into())?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------
// Landlock
// ---------------------------------------------------------------------------------------------

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

/// Access rights of linux/landlock.h.
mod access {
    pub const EXECUTE: u64 = 1;
    pub const WRITE_FILE: u64 = 1 << 1;
    pub const READ_FILE: u64 = 1 << 2;
    pub const READ_DIR: u64 = 1 << 3;
    pub const REMOVE_FILE: u64 = 1 << 5;
    pub const MAKE_DIR: u64 = 1 << 7;
    pub const MAKE_REG: u64 = 1 << 8;
    /// All of version 1.
    pub const ALL: u64 = (1 << 13) - 1;
    /// Version 2: from one folder to another.
    pub const REFER: u64 = 1 << 13;
    /// Version 3.
    pub const TRUNCATE: u64 = 1 << 14;
}

/// Allows reading everywhere, and writing to what `leave` names alone. Returns the kernel's version, 0
/// if it has no Landlock.
fn landlock(leave: &Leave) -> io::Result<u32> {
    const VERSION: libc::c_int = 1;
    const RULE_PATH_BENEATH: libc::c_int = 1;
    let none = std::ptr::null::<u64>();
    // SAFETY: asks for the version, without memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) };
    if version < 1 {
        return Ok(0);
    }
    let truncate = if version >= 3 { access::TRUNCATE } else { 0 };
    // The first version refuses to move a file to another folder, whatever is allowed.
    let refer = if version >= 2 { access::REFER } else { 0 };
    let handled: u64 = access::ALL | truncate | refer;
    // SAFETY: `handled` is the first field of the attributes, whose size tells that there is no
    // other; the descriptor that comes back is new and ours.
    let rules = unsafe {
        let size = size_of::<u64>();
        let place = std::ptr::from_ref(&handled);
        let fd = check(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            place,
            size,
            0,
        ))?;
        OwnedFd::from_raw_fd(fd as i32)
    };
    let allow = |path: &Path, allowed: u64| -> io::Result<()> {
        let folder = std::fs::File::open(path)?;
        let beneath = Beneath {
            allowed,
            parent: folder.as_raw_fd(),
        };
        let place = std::ptr::from_ref(&beneath);
        // SAFETY: `place` points to a rule of the kind that is named.
        let added = unsafe {
            let (rules, kind) = (rules.as_raw_fd(), RULE_PATH_BENEATH);
            libc::syscall(libc::SYS_landlock_add_rule, rules, kind, place, 0)
        };
        check(added).map(|_| ())
    };
    let read = access::READ_FILE | access::READ_DIR;
    allow(Path::new("/"), read)?;
    debug_assert!(read & access::EXECUTE == 0);
    let write = access::WRITE_FILE | truncate;
    let make = access::MAKE_REG | access::MAKE_DIR | access::REMOVE_FILE | refer;
    for path in &leave.writable {
        allow(path, read | write | make)?;
    }
    for path in &leave.files {
        allow(path, access::READ_FILE | write)?;
    }
    no_more_privileges()?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) })?;
    Ok(version as u32)
}

// ---------------------------------------------------------------------------------------------
// System calls
// ---------------------------------------------------------------------------------------------

/// Calls that an engine makes once it is ready: memory, threads, time, its sockets and files.
const CALLS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_fcntl,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    // Files are stored: made in one folder, moved to another.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getaffinity,
    // For what compiles rules: to come after the lanes. More than it had it is not given.
    libc::SYS_sched_setscheduler,
    libc::SYS_setpriority,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_getrandom,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_ioctl,
    libc::SYS_prlimit64,
    libc::SYS_prctl,
    libc::SYS_getcpu,
    libc::SYS_uname,
    libc::SYS_geteuid,
    libc::SYS_getuid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
];

/// Fields of `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
/// Low half of the first argument.
const FIRST_AT: u32 = 16;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

fn load(at: u32) -> libc::sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0)
}

fn if_equal(value: u32, yes: u8, no: u8) -> libc::sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, yes, no)
}

fn answer(value: u32) -> libc::sock_filter {
    step(libc::BPF_RET | libc::BPF_K, value, 0, 0)
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

/// The filter: what stands in the list passes; `clone` passes for threads; `clone3`, whose
/// arguments no filter can see, is answered as if the kernel did not know it, so that the C library
/// uses `clone`; all else is refused with EPERM.
fn program() -> Vec<libc::sock_filter> {
    const PASS: u32 = libc::SECCOMP_RET_ALLOW;
    let refuse = |error: libc::c_int| libc::SECCOMP_RET_ERRNO | error as u32;
    let mut steps = vec![
        load(ARCH_AT),
        if_equal(ARCH, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER_AT),
        if_equal(libc::SYS_clone3 as u32, 0, 1),
        answer(refuse(libc::ENOSYS)),
    ];
    for call in CALLS {
        steps.push(if_equal(*call as u32, 0, 1));
        steps.push(answer(PASS));
    }
    steps.extend([
        if_equal(libc::SYS_clone as u32, 1, 0),
        answer(refuse(libc::EPERM)),
        load(FIRST_AT),
        step(
            libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K,
            libc::CLONE_THREAD as u32,
            0,
            1,
        ),
        answer(PASS),
        answer(refuse(libc::EPERM)),
    ]);
    steps
}

fn filter_calls() -> io::Result<()> {
    let mut steps = program();
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC;
    // SAFETY: the program and its steps outlive the call; the kernel checks and copies them.
    let done = unsafe {
        let place = std::ptr::from_ref(&program);
        libc::syscall(libc::SYS_seccomp, mode, flags, place)
    };
    check(done).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs in a child process: what is given up does not come back.
    #[test]
    fn what_a_link_names_is_not_given_away() {
        let folder = std::env::temp_dir().join(format!("sluice-own-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("real")).unwrap();
        std::fs::write(folder.join("real/file"), "x").unwrap();
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(folder.join(to), folder.join(name)).unwrap();
            folder.join(name)
        };
        let (dir, file) = (link("real", "dir"), link("real/file", "file"));
        std::fs::hard_link(folder.join("real/file"), folder.join("second")).unwrap();
        // To itself: who is not root may do that, too.
        let found = std::fs::metadata(&folder).unwrap();
        let user = User {
            uid: found.uid(),
            gid: found.gid(),
        };
        assert!(user.own_folder(&dir).is_err());
        assert!(user.own_file(&file).is_err());
        assert!(user.own_file(&folder.join("second")).is_err());
        assert!(user.own_file(&folder.join("real")).is_err());
        std::fs::remove_file(folder.join("second")).unwrap();
        assert!(user.own_file(&folder.join("real/file")).is_ok());
        let opened = user.own_folder(&folder.join("real")).unwrap();
        std::fs::rename(folder.join("real"), folder.join("moved")).unwrap();
        assert!(opened.path().join("file").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_forbidden_is_refused_and_what_is_needed_goes_on() {
        const VARIABLE: &str = "SLUICE_TEST_SANDBOX";
        if let Some(folder) = std::env::var_os(VARIABLE) {
            return inside(Path::new(&folder));
        }
        let folder = std::env::temp_dir().join(format!("sluice-sandbox-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg("keeper::sandbox::tests::what_is_forbidden_is_refused_and_what_is_needed_goes_on")
            .env(VARIABLE, &folder)
            .output()
            .unwrap();
        let _ = std::fs::remove_dir_all(&folder);
        let _ = std::fs::remove_file(folder.with_extension("set"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}{errors}");
    }

    fn refused(what: &str, result: libc::c_long) {
        assert_eq!(result, -1, "{what} is not refused");
    }

    fn inside(folder: &Path) {
        let user = User {
            uid: 65_534,
            gid: 65_534,
        };
        let root = is_root();
        if root {
            user.own_folder(folder).unwrap();
        }
        let before = std::env::temp_dir().join("sluice-sandbox-outside");
        let set = folder.with_extension("set");
        std::fs::write(&set, "before").unwrap();
        if root {
            user.own_file(&set).unwrap();
        }
        let leave = Leave {
            user: root.then_some(user),
            writable: vec![folder.to_path_buf()],
            files: vec![set.clone()],
        };
        let given = enter(&leave).unwrap();
        assert!(given.seccomp);
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.unwrap_or_default()[name.len()..].trim().to_string()
        };
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
        if root {
            assert_eq!(given.uid, 65_534);
            for set in ["CapEff:", "CapPrm:", "CapBnd:", "CapInh:"] {
                assert_eq!(field(set), "0000000000000000", "{set}");
            }
        }
        // What an engine does.
        std::fs::write(folder.join("eve.json"), "x").unwrap();
        std::fs::write(&set, "x").unwrap();
        std::fs::create_dir_all(folder.join("store/tmp")).unwrap();
        std::fs::create_dir(folder.join("store/ab")).unwrap();
        let (part, stored) = (folder.join("store/tmp/a"), folder.join("store/ab/a"));
        std::fs::write(&part, "x").unwrap();
        if given.landlock != 1 {
            std::fs::rename(part, stored).unwrap();
        }
        std::thread::spawn(|| ()).join().unwrap();
        std::fs::read_to_string("/proc/self/stat").unwrap();
        // What it does not.
        if given.landlock > 0 || root {
            assert!(std::fs::write(&before, "x").is_err());
        }
        // SAFETY: none of these calls is given memory that it could write to; all are refused.
        unsafe {
            refused(
                "socket",
                libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0).into(),
            );
            refused(
                "packet",
                libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0).into(),
            );
            refused("fork", libc::fork().into());
            let shell = c"/bin/true".as_ptr();
            let arguments = [shell, std::ptr::null()];
            refused(
                "execve",
                libc::execve(shell, arguments.as_ptr(), arguments.as_ptr().add(1)).into(),
            );
            refused("ptrace", libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0));
            refused("unshare", libc::unshare(libc::CLONE_NEWNS).into());
            refused("setuid", libc::setuid(0).into());
            refused(
                "mount",
                libc::syscall(libc::SYS_mount, shell, shell, shell, 0, 0),
            );
            refused("bpf", libc::syscall(libc::SYS_bpf, 0, 0, 0));
            refused("kill", libc::kill(libc::getppid(), 0).into());
        }
    }
}
