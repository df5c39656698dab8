"""The paper's figures and tables as jobs that resume: what they consist of, how one is carried out, what came of it."""
