"""A step of TAPO at the paper's scale, without a GPU: everything is real but the engine and the model.

Real are verl's trainer, replay buffer, agent-loop workers, load balancer, reward workers and TransferQueue, and all of
TAPO. Simulated are the engine (`serving`, `answers`, `engine`) and the model's passes over a batch (`trainer`), whose
rates are stated in `options`.

Time is a discrete-event clock (`world`): it stands still while any real code runs, and jumps to the next event of the
engine once every process waits for it (`link`). So the simulated step is what it would be if Python took no time, on
however slow a machine this runs, and what Python took is reported beside it, in CPU seconds.
"""
