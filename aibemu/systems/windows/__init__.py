"""Windows guests: how they come up and are reached, what aibemu puts into them and takes out again, their last step.

Never run on Windows: none can be had where aibemu is developed. docs/windows.md says what was proven against what.
"""
