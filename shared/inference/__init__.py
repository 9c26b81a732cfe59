"""From pictures to people: the engines that run a bundle's network, and the one path that uses them."""
