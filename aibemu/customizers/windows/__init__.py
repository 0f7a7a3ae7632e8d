"""PowerShell, WindowsRestart and WindowsUpdate, and File on Windows, with the semantics of Packer's provisioners.

The generated PowerShell is in `texts/`, a file each; `texts.py` fills it in. It keeps to Windows PowerShell 5.1.
"""
