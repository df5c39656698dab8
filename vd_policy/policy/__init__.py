"""Floor 1: what the policy knows, in torch alone.

The observation's normalisation, the two-stream network of Fig. 2, its variational-dropout layers, the Gaussian
policy, pruning, checkpoints, ONNX export and the actor that the policy node runs. This room knows nothing of ROS,
PyBullet, bags or learners.
"""
