//! Keys and CURVE sockets.
