"""Videos in and out: untrusted uploads are read in limited processes, results are encoded here."""
