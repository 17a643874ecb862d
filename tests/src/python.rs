//! Python for the tests that look at our formats with other people's libraries.

pub mod venv;
