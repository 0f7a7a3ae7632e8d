"""A deployment template becomes the resources it declares: parameters, variables, loops, conditions, nested templates.

`level` is one template with its parameters; `resources` unrolls what it declares; `deployment` is the way in.
Everything is evaluated when it is asked for and once; what goes wrong is a finding at its place, and its value unknown.
"""
