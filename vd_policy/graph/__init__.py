"""Floor 4: the one list of what runs, for the launch files and for ``vd_policy up``.

`options` holds every option once, with its default; `nodes` turns a graph's name and its options into the list of node
processes; `process` knows how one of them is started; `up` runs them without ``ros2 launch``, `watch` shows how far
they have come. This room imports no ROS.
"""
