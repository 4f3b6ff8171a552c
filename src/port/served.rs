//! What the emulated kernels share that `mem:` ports and netmap's emulation are made of: the names
//! of what they find wrong, and a socket at a path that one thread serves. What is handed over
//! there, and to whom, is for those who serve.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a server looks for clients that came or went.
const TURN: Duration = Duration::from_millis(5);

/// What a strict kernel found wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Violation {
    /// A slot was given back with a buffer that is not its side's to give: used twice.
    BufferTwice,
    /// A slot that was the kernel's was written.
    SlotTouched,
    /// A slot's buffer changed without `NS_BUF_CHANGED`.
    ChangeUntold,
    /// A frame longer than its buffer.
    TooLong,
    /// A buffer index that there is not.
    IndexInvalid,
    /// Head or cur outside [head..tail).
    HeadInvalid,
    /// Two threads synced one ring at once.
    TwoThreads,
    /// A list of extra buffers at close that names buffers which are not the application's: the
    /// kernel would free them twice.
    StaleList,
}

impl Violation {
    /// Number of kinds.
    pub const KINDS: usize = 8;
}

/// A socket at a path, served by a thread of its own until dropped.
pub(super) struct Served {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Listens at `path`; a socket left there by a process that is gone is replaced. `turn` is
    /// called again and again with the listener, which does not block, and says whether there may be
    /// more to do at once.
    ///
    /// # Errors
    /// Somebody serves there (`AddrInUse`), or no socket or thread can be made.
    pub fn start(
        path: &Path,
        name: &str,
        mut turn: impl FnMut(&UnixListener) -> bool + Send + 'static,
    ) -> io::Result<Served> {
        if UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(name.to_string())
            .spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    if !turn(&listener) {
                        std::thread::sleep(TURN);
                    }
                }
            })?;
        Ok(Served {
            path: path.to_path_buf(),
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // The thread ends within a turn; that it panicked would be told by the test harness.
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_socket_is_served_by_one_and_gone_with_it() {
        let path = std::env::temp_dir().join(format!("sluice-served-{}", std::process::id()));
        let came = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&came);
        let turn = move |listener: &UnixListener| match listener.accept() {
            Ok(_) => counted.fetch_add(1, Ordering::AcqRel) < u32::MAX,
            Err(_) => false,
        };
        let served = Served::start(&path, "served", turn.clone()).unwrap();
        UnixStream::connect(&path).unwrap();
        while came.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        let second = Served::start(&path, "second", |_| false).err().unwrap();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(served);
        assert!(!path.exists());
        // What a killed process left behind is nobody's.
        drop(UnixListener::bind(&path).unwrap());
        drop(Served::start(&path, "third", turn).unwrap());
        assert!(!path.exists());
    }
}
