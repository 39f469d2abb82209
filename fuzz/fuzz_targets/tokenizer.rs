//! Any bytes to tokens of the built-in model and back.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, ModelSource, load};

fuzz_target!(|data: &[u8]| {
    static MODELS: OnceLock<Vec<Arc<dyn LanguageModel>>> = OnceLock::new();
    let models = MODELS.get_or_init(|| {
        let load = |engine| {
            load(
                &ModelSource::builtin_default()?,
                engine,
                &LoadOptions::default(),
            )
        };
        [EngineChoice::Llama, EngineChoice::Exact]
            .into_iter()
            .filter_map(|engine| load(engine).ok())
            .collect()
    });
    for model in models {
        let tokens = model.tokenize(data).expect("any bytes have tokens");
        let mut joined = Vec::new();
        model.vocabulary().join(&tokens, &mut joined);
        assert_eq!(joined, data);
    }
});
