"""Looking at what production answered and what came true: is it still right, and if not, why not?"""
