//! The bus interface.
