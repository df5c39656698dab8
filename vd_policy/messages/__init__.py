"""Floor 2: how it speaks. ROS messages to NumPy and back, for every message the graph and the bags hold.

Decoders work on any object with the fields of the ROS message, so that a message out of a bag and one off a topic take
the same path; encoders make messages through a `MessageFactory` that the ROS side or the bag side supplies. This room
imports neither rclpy nor rosbags.
"""
