"""How a machine comes in with a command or two: an overlay founded, invitations to it, and how they are taken up."""
