//! Sending, and what resumes it.
