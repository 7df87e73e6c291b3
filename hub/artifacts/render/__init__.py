"""The program that makes previews inside the jail. It imports nothing of the hub but this folder."""
