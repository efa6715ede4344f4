"""What labels are read as: 800 everyday words, their right readings, and what a model reads.

`everyday.json` has the words with the judgements of two readers, and `before.json` what the model
of d6f029da read. Half of the words are set aside: nobody who makes a table of words may see what is
wrong with them, so commands tell totals of that half alone.
"""
