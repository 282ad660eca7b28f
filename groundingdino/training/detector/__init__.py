"""How the embedded detector learnt, from drawn scenes and photographs."""
