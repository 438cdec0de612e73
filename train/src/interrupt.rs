//! What a run says when Ctrl-C ends it. It ends as any program does: what was saved is whole.

use std::ffi::c_int;
use std::ptr::null_mut;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The last words; strings stay for ever, since the handler may come at any time.
static LAST_WORDS: AtomicPtr<String> = AtomicPtr::new(null_mut());
static LISTEN: Once = Once::new();

/// From now on Ctrl-C has this said on standard error, in a line of its own.
pub fn will_say(words: &str) {
    LAST_WORDS.store(Box::into_raw(Box::new(format!("\n{words}\n"))), Ordering::Release);
    // SAFETY: `stop` does only what a signal's handler may.
    LISTEN.call_once(|| unsafe {
        libc::signal(libc::SIGINT, stop as *const () as libc::sighandler_t);
    });
}

extern "C" fn stop(signal: c_int) {
    // SAFETY: null, or a string that nobody changes or frees.
    if let Some(words) = unsafe { LAST_WORDS.load(Ordering::Acquire).as_ref() } {
        // SAFETY: the string's bytes. Nothing can be done where it fails.
        let _ = unsafe { libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len()) };
    }
    // SAFETY: the signal comes again when this returns, and then ends the process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
