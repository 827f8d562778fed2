"""Which application is this? Judging whether a sentence is grammatical."""
