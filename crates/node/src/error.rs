//! Errors as JavaScript sees them.

use std::any::Any;

use hyperpull::error::{Code, Error};

/// What the `code` of a thrown error says.
pub struct ThrownCode(&'static str);

impl AsRef<str> for ThrownCode {
    fn as_ref(&self) -> &str {
        self.0
    }
}

/// An error whose `code` is one of the stable codes.
pub type Thrown = napi::Error<ThrownCode>;

/// A failure that JavaScript gets as an exception.
pub fn thrown(error: &Error) -> Thrown {
    napi::Error::new(ThrownCode(error.code().as_str()), error.message())
}

/// A failure of Node-API itself, or an argument that the facade never gives.
pub fn unexpected(error: &napi::Error) -> Thrown {
    napi::Error::new(ThrownCode(Code::InvalidOption.as_str()), &error.reason)
}

/// The transport's error of binding or starting.
pub fn io(what: &str, error: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("{what}: {error}"))
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("internal fault: {}", said.unwrap_or("no message"))
}
