//! TLS: our authority, its leaves, and what we believe upstream. One crypto provider, named here.
