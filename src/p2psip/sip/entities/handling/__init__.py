"""How the owners of lines want their calls handled: forwarded, screened, rung for so long."""
