"""Floor 0: the words every other room shares.

Typed errors, settings read from YAML, named random seeds, the `Episode` record, durable files, the lookup of
installed resources, and progress bars. This room imports nothing of the package and neither ROS, PyBullet nor torch.
"""
