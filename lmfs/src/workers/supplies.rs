//! What a store has for workers that lack it.

use std::sync::Arc;

use lmfs_codec::dictionary::DictionaryId;
use lmfs_indexer::Store;
use tracing::warn;

use super::error::Error;
use super::peer::Supplies;
use crate::store::{Folder, ModelFile, dictionaries};

/// The model and the dictionaries of an open store.
pub struct StoreSupplies {
    folder: Folder,
    store: Arc<Store>,
}

impl StoreSupplies {
    /// Those of the store in this folder.
    pub fn new(folder: Folder, store: Arc<Store>) -> StoreSupplies {
        StoreSupplies { folder, store }
    }
}

impl Supplies for StoreSupplies {
    fn model(&self) -> Result<Vec<u8>, Error> {
        let config = self.folder.config().model.as_ref();
        let config = config.ok_or_else(|| Error::NoModel("it has none".into()))?;
        let file = ModelFile::new(self.folder.path(), config.digest);
        file.read(self.folder.dir())
            .map_err(|fault| Error::NoModel(fault.into()))
    }

    fn dictionary(&self, id: DictionaryId) -> Option<Vec<u8>> {
        let text = dictionaries::text(&self.store, id);
        text.inspect_err(|error| warn!(%error, "no worker gets this dictionary"))
            .ok()
            .flatten()
    }
}
