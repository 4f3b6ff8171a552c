//! Hyperscan as the bench's peer, opened at run time: the product knows nothing of it.
//!
//! Two forms: `hs_compile_lit_multi`, and `hs_compile_ext_multi` with SINGLEMATCH and offsets.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use super::engine::{Anchor, Literal};

const CASELESS: c_uint = 1;
const SINGLEMATCH: c_uint = 8;
const MODE_BLOCK: c_uint = 1;
const EXT_MAX_OFFSET: u64 = 2;

type Pointers = *const *const c_char;
type CompileLit = unsafe extern "C" fn(
    Pointers,
    *const c_uint,
    *const c_uint,
    *const usize,
    c_uint,
    c_uint,
    *const c_void,
    *mut *mut c_void,
    *mut *mut CompileError,
) -> c_int;
type CompileExt = unsafe extern "C" fn(
    Pointers,
    *const c_uint,
    *const c_uint,
    *const *const Ext,
    c_uint,
    c_uint,
    *const c_void,
    *mut *mut c_void,
    *mut *mut CompileError,
) -> c_int;
type Callback = unsafe extern "C" fn(c_uint, u64, u64, c_uint, *mut c_void) -> c_int;
type ScanFn = unsafe extern "C" fn(
    *const c_void,
    *const u8,
    c_uint,
    c_uint,
    *mut c_void,
    Callback,
    *mut c_void,
) -> c_int;
type AllocScratch = unsafe extern "C" fn(*const c_void, *mut *mut c_void) -> c_int;
type FreeFn = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `hs_compile_error_t`.
#[repr(C)]
struct CompileError {
    message: *const c_char,
    expression: c_int,
}

/// `hs_expr_ext_t`.
#[repr(C)]
struct Ext {
    flags: u64,
    min_offset: u64,
    max_offset: u64,
    min_length: u64,
    edit_distance: c_uint,
    hamming_distance: c_uint,
}

/// The library.
pub struct Library(*mut c_void);

impl Library {
    /// Opens it, if it is installed.
    pub fn open() -> Option<Library> {
        // SAFETY: a name that ends in NUL; the library stays open.
        let handle = unsafe { libc::dlopen(c"libhs.so.5".as_ptr(), libc::RTLD_NOW) };
        (!handle.is_null()).then_some(Library(handle))
    }

    fn symbol<T: Copy>(&self, name: &CStr) -> T {
        // SAFETY: the handle is open; the types are those of hs_compile.h and hs_runtime.h.
        unsafe {
            let symbol = libc::dlsym(self.0, name.as_ptr());
            assert!(!symbol.is_null(), "{name:?} is not in libhs");
            std::mem::transmute_copy(&symbol)
        }
    }
}

/// A compiled set.
pub struct Database {
    database: *mut c_void,
    scratch: *mut c_void,
    scan: ScanFn,
    free: [FreeFn; 2],
    /// Seconds that compiling took.
    pub seconds: f64,
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: both were made by the library and are given back once.
        unsafe {
            (self.free[0])(self.scratch);
            (self.free[1])(self.database);
        }
    }
}

impl Database {
    /// Compiles as pure literals; `None` with a word if it refuses.
    pub fn literals(library: &Library, literals: &[Literal]) -> Option<Database> {
        let bytes: Vec<_> = literals.iter().map(|l| l.bytes.as_ptr().cast()).collect();
        let lengths: Vec<usize> = literals.iter().map(|l| l.bytes.len()).collect();
        let flags: Vec<c_uint> = literals.iter().map(|l| c_uint::from(l.nocase)).collect();
        let numbers: Vec<c_uint> = (0..literals.len() as c_uint).collect();
        let compile: CompileLit = library.symbol(c"hs_compile_lit_multi");
        let start = std::time::Instant::now();
        let (mut database, mut error) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: arrays of as many elements as said.
        let code = unsafe {
            compile(
                bytes.as_ptr(),
                flags.as_ptr(),
                numbers.as_ptr(),
                lengths.as_ptr(),
                literals.len() as c_uint,
                MODE_BLOCK,
                std::ptr::null(),
                &raw mut database,
                &raw mut error,
            )
        };
        Database::made(library, code, database, error, start)
    }

    /// Compiles as Suricata does: expressions, each reported once, those at the start with their
    /// offset.
    pub fn single_match(library: &Library, literals: &[Literal]) -> Option<Database> {
        let expressions: Vec<CString> = literals
            .iter()
            .map(|l| {
                let text: String = l.bytes.iter().map(|b| format!("\\x{b:02x}")).collect();
                CString::new(text).expect("no NUL")
            })
            .collect();
        let pointers: Vec<_> = expressions.iter().map(|e| e.as_ptr()).collect();
        let exts: Vec<Ext> = literals
            .iter()
            .map(|l| {
                let starts = matches!(l.anchor, Anchor::Start | Anchor::Whole);
                Ext {
                    flags: if starts { EXT_MAX_OFFSET } else { 0 },
                    min_offset: 0,
                    max_offset: if starts { l.bytes.len() as u64 } else { 0 },
                    min_length: 0,
                    edit_distance: 0,
                    hamming_distance: 0,
                }
            })
            .collect();
        let exts: Vec<*const Ext> = exts.iter().map(|e| &raw const *e).collect();
        let case = |l: &Literal| if l.nocase { CASELESS } else { 0 };
        let flags: Vec<c_uint> = literals.iter().map(|l| SINGLEMATCH | case(l)).collect();
        let numbers: Vec<c_uint> = (0..literals.len() as c_uint).collect();
        let compile: CompileExt = library.symbol(c"hs_compile_ext_multi");
        let start = std::time::Instant::now();
        let (mut database, mut error) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: arrays of as many elements as said.
        let code = unsafe {
            compile(
                pointers.as_ptr(),
                flags.as_ptr(),
                numbers.as_ptr(),
                exts.as_ptr(),
                literals.len() as c_uint,
                MODE_BLOCK,
                std::ptr::null(),
                &raw mut database,
                &raw mut error,
            )
        };
        Database::made(library, code, database, error, start)
    }

    fn made(
        library: &Library,
        code: c_int,
        database: *mut c_void,
        error: *mut CompileError,
        start: std::time::Instant,
    ) -> Option<Database> {
        let seconds = start.elapsed().as_secs_f64();
        if code != 0 {
            // SAFETY: on an error the library gives one.
            let message = unsafe { CStr::from_ptr((*error).message) };
            println!("  hyperscan refuses: {message:?}");
            return None;
        }
        let alloc: AllocScratch = library.symbol(c"hs_alloc_scratch");
        let mut scratch = std::ptr::null_mut();
        // SAFETY: the database was just made.
        let code = unsafe { alloc(database, &raw mut scratch) };
        assert_eq!(code, 0, "hs_alloc_scratch");
        Some(Database {
            database,
            scratch,
            scan: library.symbol(c"hs_scan"),
            free: [
                library.symbol(c"hs_free_scratch"),
                library.symbol(c"hs_free_database"),
            ],
            seconds,
        })
    }

    /// Calls `found` with each literal's number and where it ends.
    pub fn scan(&self, buffer: &[u8], found: &mut dyn FnMut(u32, usize)) {
        unsafe extern "C" fn call(
            number: c_uint,
            _: u64,
            to: u64,
            _: c_uint,
            context: *mut c_void,
        ) -> c_int {
            // SAFETY: the context is the `found` of `scan`, which waits for the library.
            let found = unsafe { &mut *context.cast::<&mut dyn FnMut(u32, usize)>() };
            found(number, to as usize);
            0
        }
        let mut found = found;
        let context = (&raw mut found).cast();
        // SAFETY: database and scratch belong together; one thread.
        let code = unsafe {
            (self.scan)(
                self.database,
                buffer.as_ptr(),
                buffer.len() as c_uint,
                0,
                self.scratch,
                call,
                context,
            )
        };
        assert_eq!(code, 0, "hs_scan");
    }

    /// Counts matches alone: the cheapest callback.
    pub fn count(&self, buffer: &[u8]) -> u64 {
        unsafe extern "C" fn call(_: c_uint, _: u64, _: u64, _: c_uint, to: *mut c_void) -> c_int {
            // SAFETY: the context is the counter of `count`, which waits for the library.
            unsafe { *to.cast::<u64>() += 1 };
            0
        }
        let mut count = 0u64;
        // SAFETY: as in `scan`.
        unsafe {
            (self.scan)(
                self.database,
                buffer.as_ptr(),
                buffer.len() as c_uint,
                0,
                self.scratch,
                call,
                (&raw mut count).cast(),
            );
        }
        count
    }
}
