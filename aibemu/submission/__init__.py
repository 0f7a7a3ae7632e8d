"""What a user hands in: a template file with its parameters, read from this machine. The shell around `template/`.

`examine` does what the service does at submission, and more: read or compile the file, put the parameters in, check the
result and the scripts it names. Files, processes and the clock are touched here; `template/` gets text and values.
"""
