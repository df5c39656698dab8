"""Floor 5: the ROS skin. The only room that imports rclpy.

Each node wraps one plain class of the floors below in topics, parameters and services; every decision stays in that
class. `ros` holds what all nodes share: messages and QoS from the topic table, diagnostics, and the way a node starts
and ends; `parameters` declares a node's parameters from its settings dataclass. Nobody imports this room except the
executables themselves (``python -m vd_policy.nodes.sim``) and the launch files, which take `launching`.
"""
