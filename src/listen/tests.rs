//! Real sockets, a real journal.
