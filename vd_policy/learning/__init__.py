"""Floor 4: how the policy learns.

Behavioural cloning with variational dropout (`pretrain`), rollouts in processes (`collector`), trust-region policy
optimisation (`trpo`, `natural`, `critic`) and the one loop that joins a learner to a collector (`train`). A method is
a module of this room with ``build(config, policy)``; a recipe in ``config/recipes/`` names it. This room may use every
room below it and knows nothing of ROS.
"""
