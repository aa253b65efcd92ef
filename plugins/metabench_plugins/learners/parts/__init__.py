"""Parts that learners share: inner loops, optimizers, encoders, mini-batches."""
