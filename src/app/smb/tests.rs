//! Conversations of SMB, written out.
