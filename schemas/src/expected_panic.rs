//! Panics that are an answer: foreign decoders give up on some damaged bytes by panicking. Who asked turns that into an error that says all, so nothing
//! is printed besides. Every other panic stays as loud as it was.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs work in which a panic means "this can't be decoded"; the panic's message as an error.
///
/// The work must leave nothing half done that is used afterwards.
///
/// ```
/// let empty: Vec<u8> = Vec::new();
/// assert!(schemas::catch_panic(|| empty[0]).unwrap_err().contains("out of bounds"));
/// ```
///
/// # Errors
/// The message of the panic.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = EXPECTED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(outer);
    done.map_err(|panic| message_of(panic.as_ref()))
}

/// Keeps the panics that [`catch_panic`] answers from being printed. Once, first in `main`: the hook in force before prints all others.
pub fn quiet_expected_panics() {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        // A thread that ends has no such flag any more, and expects nothing.
        if !EXPECTED.try_with(Cell::get).unwrap_or(false) {
            before(panic);
        }
    }));
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[test]
    fn only_what_is_expected_is_quiet() {
        static PRINTED: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let before = take_hook();
        let own_thread = std::thread::current().id();
        set_hook(Box::new(move |panic| {
            if std::thread::current().id() == own_thread {
                let mut printed = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
                printed.push(message_of(panic.payload()));
            } else {
                before(panic);
            }
        }));
        quiet_expected_panics();
        let loud = |text: &'static str| catch_unwind(|| panic!("{text}")).unwrap_err();
        loud("before");
        let nested = catch_panic(|| {
            assert_eq!(catch_panic(|| panic!("inner")).unwrap_err(), "inner");
            panic!("outer {}", 1);
        });
        assert_eq!(nested.unwrap_err(), "outer 1");
        // On a thread of its own nothing is expected: not quiet, though its starter waits for it.
        let other = catch_panic(|| std::thread::spawn(|| EXPECTED.get()).join().unwrap());
        assert_eq!(other, Ok(false));
        loud("after");
        assert_eq!(*PRINTED.lock().unwrap(), ["before", "after"]);
    }
}
