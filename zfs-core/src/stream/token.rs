//! What an interrupted receive left behind, as the text that resumes it.
