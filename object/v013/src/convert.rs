//! What both versions have, as the other version's.

use futures_util::{StreamExt, TryStreamExt};
use object_store as v014;
use object_store_013 as v013;

/// The version that something is made for follows from where it is used.
pub trait Into013<T> {
    fn into_013(self) -> T;
}

/// As [`Into013`], the other way round.
pub trait Into014<T> {
    fn into_014(self) -> T;
}

/// Whose name an error has that the other version does not know.
const NAME: &str = "lmfs-object-013";

/// Both versions have these, with the same fields.
macro_rules! both_ways {
    ($from:ident, $to:ident, $into:ident, $convert:ident) => {
        impl $into<$to::Error> for $from::Error {
            fn $convert(self) -> $to::Error {
                use $from::Error as E;
                use $to::Error as To;
                match self {
                    E::Generic { store, source } => To::Generic { store, source },
                    E::NotFound { path, source } => To::NotFound { path, source },
                    E::NotSupported { source } => To::NotSupported { source },
                    E::AlreadyExists { path, source } => To::AlreadyExists { path, source },
                    E::Precondition { path, source } => To::Precondition { path, source },
                    E::NotModified { path, source } => To::NotModified { path, source },
                    E::NotImplemented {
                        operation,
                        implementer,
                    } => To::NotImplemented {
                        operation,
                        implementer,
                    },
                    E::PermissionDenied { path, source } => To::PermissionDenied { path, source },
                    E::Unauthenticated { path, source } => To::Unauthenticated { path, source },
                    E::UnknownConfigurationKey { store, key } => To::UnknownConfigurationKey { store, key },
                    // Paths that are wrong, threads that panicked: each version has its own words.
                    other => To::Generic {
                        store: NAME,
                        source: other.into(),
                    },
                }
            }
        }

        impl $into<$to::Result<$to::path::Path>> for &$from::path::Path {
            fn $convert(self) -> $to::Result<$to::path::Path> {
                Ok($to::path::Path::parse(self)?)
            }
        }

        impl $into<$to::Result<$to::Attributes>> for $from::Attributes {
            fn $convert(self) -> $to::Result<$to::Attributes> {
                self.iter()
                    .map(|(key, value)| {
                        use $from::Attribute as A;
                        use $to::Attribute as To;
                        let key = match key {
                            A::ContentDisposition => To::ContentDisposition,
                            A::ContentEncoding => To::ContentEncoding,
                            A::ContentLanguage => To::ContentLanguage,
                            A::ContentType => To::ContentType,
                            A::CacheControl => To::CacheControl,
                            A::StorageClass => To::StorageClass,
                            A::Metadata(key) => To::Metadata(key.clone()),
                            other => {
                                return Err($to::Error::NotSupported {
                                    source: format!("{NAME} does not know the attribute {other:?}").into(),
                                });
                            }
                        };
                        Ok((key, value.to_string()))
                    })
                    .collect()
            }
        }
    };
}

both_ways!(v013, v014, Into014, into_014);
both_ways!(v014, v013, Into013, into_013);

impl Into013<v013::Result<v013::ObjectMeta>> for v014::ObjectMeta {
    fn into_013(self) -> v013::Result<v013::ObjectMeta> {
        Ok(v013::ObjectMeta {
            location: self.location.into_013()?,
            last_modified: self.last_modified,
            size: self.size,
            e_tag: self.e_tag,
            version: self.version,
        })
    }
}

impl Into013<v013::Result<v013::ListResult>> for v014::ListResult {
    fn into_013(self) -> v013::Result<v013::ListResult> {
        Ok(v013::ListResult {
            common_prefixes: self
                .common_prefixes
                .iter()
                .map(Into013::into_013)
                .collect::<Result<_, _>>()?,
            objects: self
                .objects
                .into_iter()
                .map(Into013::into_013)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Into013<v013::Result<v013::GetResult>> for v014::GetResult {
    fn into_013(self) -> v013::Result<v013::GetResult> {
        Ok(v013::GetResult {
            meta: self.meta.clone().into_013()?,
            range: self.range.clone(),
            attributes: self.attributes.clone().into_013()?,
            payload: v013::GetResultPayload::Stream(self.into_stream().map_err(Into013::into_013).boxed()),
        })
    }
}

impl Into013<v013::PutResult> for v014::PutResult {
    fn into_013(self) -> v013::PutResult {
        v013::PutResult {
            e_tag: self.e_tag,
            version: self.version,
        }
    }
}

impl Into014<v014::GetOptions> for v013::GetOptions {
    fn into_014(self) -> v014::GetOptions {
        v014::GetOptions {
            if_match: self.if_match,
            if_none_match: self.if_none_match,
            if_modified_since: self.if_modified_since,
            if_unmodified_since: self.if_unmodified_since,
            range: self.range.map(|range| match range {
                v013::GetRange::Bounded(range) => v014::GetRange::Bounded(range),
                v013::GetRange::Offset(offset) => v014::GetRange::Offset(offset),
                v013::GetRange::Suffix(len) => v014::GetRange::Suffix(len),
            }),
            version: self.version,
            head: self.head,
            extensions: self.extensions,
        }
    }
}

impl Into014<v014::PutPayload> for v013::PutPayload {
    fn into_014(self) -> v014::PutPayload {
        self.into_iter().collect()
    }
}

impl Into014<v014::TagSet> for v013::TagSet {
    fn into_014(self) -> v014::TagSet {
        let mut tags = v014::TagSet::default();
        for (key, value) in form_urlencoded::parse(self.encoded().as_bytes()) {
            tags.push(&key, &value);
        }
        tags
    }
}

impl Into014<v014::Result<v014::PutOptions>> for v013::PutOptions {
    fn into_014(self) -> v014::Result<v014::PutOptions> {
        Ok(v014::PutOptions {
            mode: match self.mode {
                v013::PutMode::Overwrite => v014::PutMode::Overwrite,
                v013::PutMode::Create => v014::PutMode::Create,
                v013::PutMode::Update(v013::UpdateVersion { e_tag, version }) => {
                    v014::PutMode::Update(v014::UpdateVersion { e_tag, version })
                }
            },
            tags: self.tags.into_014(),
            attributes: self.attributes.into_014()?,
            extensions: self.extensions,
        })
    }
}

impl Into014<v014::Result<v014::PutMultipartOptions>> for v013::PutMultipartOptions {
    fn into_014(self) -> v014::Result<v014::PutMultipartOptions> {
        Ok(v014::PutMultipartOptions {
            tags: self.tags.into_014(),
            attributes: self.attributes.into_014()?,
            extensions: self.extensions,
        })
    }
}

impl Into014<v014::CopyOptions> for v013::CopyOptions {
    fn into_014(self) -> v014::CopyOptions {
        v014::CopyOptions {
            mode: match self.mode {
                v013::CopyMode::Overwrite => v014::CopyMode::Overwrite,
                v013::CopyMode::Create => v014::CopyMode::Create,
            },
            extensions: self.extensions,
        }
    }
}

impl Into014<v014::RenameOptions> for v013::RenameOptions {
    fn into_014(self) -> v014::RenameOptions {
        v014::RenameOptions {
            target_mode: match self.target_mode {
                v013::RenameTargetMode::Overwrite => v014::RenameTargetMode::Overwrite,
                v013::RenameTargetMode::Create => v014::RenameTargetMode::Create,
            },
            extensions: self.extensions,
        }
    }
}
