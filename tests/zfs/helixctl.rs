//! The program, run as a person or a script would run it.
