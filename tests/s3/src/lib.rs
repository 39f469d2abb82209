//! Tests of `lmfs-object` over S3: `make test-plugin-full`.
