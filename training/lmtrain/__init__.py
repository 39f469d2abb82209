"""The recipe of the built-in models: corpus, tokenizer, training, export, evaluation."""
