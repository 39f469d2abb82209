//! Real sizes: what lmfs makes of files, beside other compressors on the same blocks and on whole files.
