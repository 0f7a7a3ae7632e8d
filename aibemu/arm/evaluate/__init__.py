"""A deployment template becomes the resources it declares: parameters, variables, loops, conditions, nested templates.

`deployment` is the way in; `deployment_scope` is one template at work. Its parts (`parameters`, `own_functions`,
`resources`, `outputs`, `nesting`) know it as a `TemplateScope`, expressions know it as a `Scope`.
Everything is evaluated when it is asked for and once; what goes wrong is a finding at its place, and its value unknown.
"""
