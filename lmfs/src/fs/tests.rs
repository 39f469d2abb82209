//! Tests of the filesystem without a mount.
