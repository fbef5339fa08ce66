//! Passes over a capture.
