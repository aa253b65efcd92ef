"""Parts that strategies share: logits, decoding, pruning, the unrolled gradient of DARTS."""
