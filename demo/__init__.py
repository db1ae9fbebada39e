"""`make demo`: two phones call each other through five peers and no server, while peers die.

What is on stage, each a process of its own on loopback: an enrollment server, five peers, two phones. All of it is
done with the commands that a user has; whatever the demonstration knows it was told by them.
"""
