//! Redaction bookmarks.
