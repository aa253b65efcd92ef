"""What the built-in learners do otherwise than their papers and released code.

What depends on a suite's data, protocol or parameters is in the suite's file.
"""

from __future__ import annotations

from metabench import SourceDeviation

_GUARD = SourceDeviation(
    source="every meta-step is taken",
    here="a meta-step whose gradient is not finite, or more than 20 times the usual, is skipped "
    "and counted",
    why="Adam recovers from one runaway gradient only after thousands of meta-steps",
    where="The learner's paper and released code, outer loop",
    when={"learner.skip_above": 20},
)

_GUARD_OF_SGD = _GUARD.model_copy(
    update={"why": "one runaway gradient undoes much of the training"}
)

_NORM = SourceDeviation(
    source="norm layers have a shift and no scale, and add 0.001 to the variance",
    here="they have both, and add 1e-5",
    why="the numbers of weights that papers print count both",
    where="MAML, MT-Net and HSML, released code",
    when={"network": "conv4", "network.norm": "batch", "network.eps": 1e-5},
)

_CARRY = SourceDeviation(
    source="Adam's second moment goes from each task to the next",
    here="the tasks of a meta-batch start from the same moment, and its mean over them is kept",
    why="so tasks are computed at once; carry=sequential does as the released code",
    where="Reptile, released code",
    when={"learner.carry": "mean"},
)

_REPTILE = (_CARRY,)

_METANAS_NETWORK = (
    _CARRY.model_copy(update={"where": "MetaNAS, released code"}),
    SourceDeviation(
        source="a skip connection that halves a map reads the same pixels in both its parts",
        here="one of the two parts reads the map shifted by a pixel",
        why="all networks share one factorized reduction",
        where="MetaNAS, released code",
        when={"network": ("metanas", "metanas-child", "auto-meta")},
    ),
)

_METANAS = (
    *_METANAS_NETWORK,
    SourceDeviation(
        source="DropPath of 0.2 in the search too",
        here="there is none",
        why="the paper has it for section 5.2 alone; drop_path=0.2 does as the released scripts",
        where="MetaNAS, released scripts",
        when={"learner.drop_path": 0},
    ),
    SourceDeviation(
        source="a task step updates the logits on one mini-batch, then the weights on another",
        here="it updates both on the same mini-batch",
        why="equation 3 of the paper says so; batches=two does as the released code",
        where="MetaNAS, released code",
        when={"learner.batches": "one"},
    ),
)

_META_SGD = SourceDeviation(
    source="all weights have a learned rate",
    here="scale and shift of norm layers do not adapt, as in MAML",
    why="so the two differ in the rates alone; adapt_norm=true adapts them",
    where="Meta-SGD, section 3",
    when={"learner.adapt_norm": False},
)

_METRIC = SourceDeviation(
    source="batch norm at test uses running statistics",
    here="it uses those of the support and of the query set, under the suite's protocol",
    why="all learners of a suite have the same network; network.norm=running has them",
    where="Released code of prototypical networks",
    when={"network": "conv4", "network.norm": "batch"},
)

_TRAIN_WAYS = SourceDeviation(
    source="a training episode has 60 classes on Omniglot, and on MiniImagenet 30 for 1 shot and "
    "20 for 5 shots",
    here="it has as many classes as the setting",
    why="all learners of a suite train on equal episodes; learner.train_ways has the source's",
    where="Prototypical networks, sections 3.1 and 3.2",
    when={"learner.train_ways": None},
)

_FINETUNED = (
    _METRIC.model_copy(update={"where": "Released code of Chen et al."}),
    SourceDeviation(
        source="the head of a test task is trained in 100 passes over the support set, in steps of "
        "4 examples",
        here="a step uses the whole support set, and learner.test_steps counts steps",
        why="so tasks are computed at once and nothing is drawn",
        where="Chen et al., released code",
    ),
    SourceDeviation(
        source="each class of the cosine classifier has a length that is learned and that "
        "multiplies its cosines",
        here="cosines have one factor for all classes, which is not learned",
        why="the paper has cosines alone",
        where="Chen et al., section 3.2 and released code",
        when={"learner.head": "cosine"},
    ),
    SourceDeviation(
        source="training images are enlarged parts, mirrored and jittered in color at random",
        here="images are used as they are",
        why="the suites train all learners on the same images; "
        "learner.augmentation={enlarged: 0.08, flip: true, jitter: 0.4} does as the source",
        where="Chen et al., section 4.1 and released code",
        when={"learner.augmentation": None},
    ),
)

_TADAM = (
    _GUARD_OF_SGD,
    SourceDeviation(
        source="the queries of an episode are drawn from all its classes together, 100 of them at "
        "meta-test",
        here="each class has as many queries as the suite says",
        why="all episodes of a run have one shape",
        where="TADAM, released code",
    ),
    SourceDeviation(
        source="the network is a ResNet-12 with running statistics",
        here="it is the suite's network, unless --network resnet12 is given",
        why="all learners of a suite have the same network",
        where="TADAM, section 4",
        when={"network": "conv4"},
    ),
    SourceDeviation(
        source="a max pool of a map of odd size has one more row and column",
        here="the last row and column of such a map are left out",
        why="all networks halve their maps alike",
        where="TADAM, released code",
        when={"network": "resnet12", "network.variant": "tadam"},
    ),
    SourceDeviation(
        source="pixels are in [0, 2]",
        here="they are in [0, 1]",
        why="all learners of a suite see the same images, and the first norm undoes a factor",
        where="TADAM, released code",
        when={"task": "classification"},
    ),
)

_LEO = (
    _GUARD,
    SourceDeviation(
        source="features are those of a WRN-28-10, trained before and given as data",
        here="the suite's network is trained as a classifier in the first part of meta-training",
        why="so no data but the suite's is needed; features=inputs takes given ones",
        where="LEO, section 4.2",
        when={"learner.features": "pre-trained"},
        comparable=False,
    ),
    SourceDeviation(
        source="after a meta-step whose gradient is not finite, the weights decay alone",
        here="such a meta-step is skipped and counted",
        why="all learners here have the same guard",
        where="LEO, released code",
    ),
    SourceDeviation(
        source="the exponent of a spread has no bound",
        here="it is at most 10",
        why="so that a code that runs away does not overflow",
        where="LEO, equation 2",
    ),
    SourceDeviation(
        source="all images of the classes that are left are queries at test",
        here="as many as the suite says",
        why="all learners of a suite are tested on the same queries",
        where="LEO, section 4.2",
    ),
)


_R2D2 = (
    _GUARD,
    _METRIC.model_copy(update={"where": "Released code of R2-D2"}),
    SourceDeviation(
        source="the network has 96, 192, 384 and 512 filters, leaky ReLU and dropout, and the maps "
        "of its last two blocks are the features",
        here="the blocks have equally many filters, ReLU and no dropout, and the last map is the "
        "features",
        why="all learners of a suite have the same network; the reference of conv4 has the "
        "parameters of the source's",
        where="R2-D2, experiments",
        when={"network": "conv4", "network.widths": None},
        comparable=False,
    ),
    SourceDeviation(
        source="the released code keeps the penalty at 50, multiplies it by the number of support "
        "examples, and appends a constant feature of 1 to the embedding",
        here="the penalty is learned from 50 on and not multiplied, and no feature is appended",
        why="the paper learns it, and its equations have neither of the other two",
        where="R2-D2, ridge regression, and released code",
        when={"learner.learn_penalty": True},
    ),
    SourceDeviation(
        source="each training episode has a random number of 1 to 10 shots",
        here="all have the setting's number, or train_shots",
        why="all episodes of a run have one shape",
        where="R2-D2, released code",
    ),
)

_METAOPTNET = (
    _GUARD_OF_SGD,
    _METRIC.model_copy(update={"where": "MetaOptNet, released code"}),
    SourceDeviation(
        source="training images are cropped, mirrored and jittered in color at random",
        here="they are not",
        why="all learners of a suite see the same images; learner.augmentation={crop: 8, flip: "
        "true, jitter: 0.4} does as the source at 84 pixels, with crop 4 at 32",
        where="MetaOptNet, released code",
        when={"task": "classification", "learner.augmentation": None},
    ),
    SourceDeviation(
        source="the weights that are best on validation episodes of 5 shots are tested",
        here="validation episodes have 1 shot, as the test",
        why="all learners of a suite are selected alike; protocol.val_shots=5 does as the source",
        where="MetaOptNet, released code",
        when={"protocol.shots": 1, "protocol.val_shots": None},
    ),
    SourceDeviation(
        source="pixels are shifted and scaled by the mean and standard deviation of the data",
        here="pixels are in [0, 1]",
        why="all learners of a suite see the same images",
        where="MetaOptNet, released code",
        when={"task": "classification"},
    ),
    SourceDeviation(
        source="convolutions have no bias and start from a normal distribution",
        here="they have biases, and start from Glorot's uniform distribution",
        why="all learners of a suite have the same network",
        where="MetaOptNet, released code",
        when={"network": "conv4"},
    ),
)

_POOLED = SourceDeviation(
    source="the image encoder's max pools pad a map of even size at the bottom and right alone",
    here="they pad all four sides, so the map is shifted by a pixel",
    why="it is the pool of PyTorch",
    where="HSML, released code",
    when={"task": "classification"},
)

_HSML = (
    _GUARD,
    _NORM,
    _POOLED,
    SourceDeviation(
        source="the gate biases of the task encoder's GRU start at 1, and the reset gate acts on "
        "the state before it is multiplied",
        here="they start near 0, and the reset gate acts on the product",
        why="it is the GRU of PyTorch",
        where="HSML, released code",
    ),
    SourceDeviation(
        source="the encoder reads 1 minus the one-hot label",
        here="it reads the one-hot label",
        why="the source's code is a side effect of encoding a label twice",
        where="HSML, released code",
        when={"task": "classification"},
    ),
    SourceDeviation(
        source="in 5-shot training the encoder reads the first 10 support examples",
        here="it reads all of them, in training and test",
        why="the released test command reads all, and training should not differ from it",
        where="HSML, released code",
        when={"task": "classification", "protocol.shots": 5},
    ),
)

_MNAS_NORM = SourceDeviation(
    source="the paper does not say which points batch norm takes its statistics from, nor what it "
    "adds to the variance",
    here="it takes those of the points that are predicted together, which are ten, and adds 1e-5",
    why="the code of HSML takes them so, and 1e-5 is PyTorch's default; network.eps changes it",
    where="M-NAS, Toy Regression",
    when={
        "network": "toy-cell",
        "network.norm": "batch",
        "network.eps": 1e-5,
        "protocol.normalization": "transductive",
    },
)

_MNAS = (
    _GUARD,
    _POOLED,
    _MNAS_NORM,
    SourceDeviation(
        source="the reconstruction error is a sum over samples and components",
        here="it is their mean, so that its weight of 0.01 counts for less: 200 times in toy "
        "regression",
        why="the code of HSML, whose encoder it is, has the mean; penalty_reduction=sum is "
        "equation 5",
        where="M-NAS, equation 5",
        when={"learner.penalty_reduction": "mean"},
    ),
    SourceDeviation(
        source="the inner learning rate on images is 0.01, and no reduction of the loss is stated; "
        "the mean is the literal reading",
        here="it multiplies the cross-entropy summed over the support set and divided by the "
        "shots: as many times the step on the mean as there are ways",
        why="the baselines of the same table have this loss; reduction=mean is the other reading",
        where="M-NAS, Few Shot Classification",
        when={"task": "classification", "learner.reduction": "per_shot"},
    ),
    SourceDeviation(
        source="modulation acts on all weights of the network",
        here="scale and shift of norm layers are not modulated",
        why="the code of HSML, whose gates they are, has none for these",
        where="M-NAS, Transferable Knowledge Modulation",
        when={"task": "classification", "learner.modulate": True},
    ),
)

_MNAS_PER_TASK = (
    SourceDeviation(
        source="when the search is near convergence, the weights of operations that are not "
        "selected are set to 0, and the controller is then tuned",
        here="in the last part of the search (hard_fraction) the network's weights, the encoder "
        "and the gates are trained together with the controller",
        why="the paper does not say that the rest stays fixed; tuned=controller is the other "
        "reading",
        where="M-NAS, Few Shot Classification",
        when={"learner.tuned": "all"},
    ),
    SourceDeviation(
        source="the decoded architectures can also be trained anew; which of the two the tables "
        "have is not said",
        here="the decoded architecture predicts inside the supernet, without training anew",
        why="it is what the text says first; retrain_fraction trains anew",
        where="M-NAS, Few Shot Classification",
        when={"learner.retrain_fraction": 0},
    ),
)

_LOW_RANK = SourceDeviation(
    source="the modulator is a fully connected layer",
    here="its matrix is a product of two of low rank",
    why="the full matrix of a large network has tens of millions of weights",
    where="M-NAS, equation 7",
    comparable=False,
)

_SHARED_M = SourceDeviation(
    source="M-NAS-Shared-M is a row of the table that the paper does not explain",
    here="it is M-NAS-Shared, with modulation",
    why="it is the likely reading of the name",
    where="M-NAS, Table 3",
)

_MAML_PLUS = (
    _GUARD,
    SourceDeviation(
        source="blocks end in a leaky ReLU of slope 0.01",
        here="they end in a ReLU",
        why="all learners of a suite have the same network",
        where="MAML++, released code",
        when={"network": "conv4", "network.activation": "relu"},
    ),
    SourceDeviation(
        source="the mean prediction of the five checkpoints that are best on validation is tested",
        here="one checkpoint is tested",
        why="all learners of a suite are tested alike; budget.ensemble=5 tests five together",
        where="MAML++, released code",
        when={"budget.ensemble": None},
    ),
)

_RETRAINING = (
    SourceDeviation(
        source="the network that a test task decodes to is trained from scratch for that task, on "
        "the meta-train tasks",
        here="the most common decoded networks (learner.networks) are trained, and a task gets the "
        "one that shares most edges with its own",
        why="the source takes GPU hours for each test task",
        where="T-NAS, code and experiments",
    ),
)

_TNAS_NETWORK = (
    SourceDeviation(
        source="10 inner steps at meta-test",
        here="5 inner steps",
        why="all learners of a suite take the protocol's number of steps",
        where="T-NAS, released code",
        when={"protocol.steps_at_test": 5},
    ),
    SourceDeviation(
        source="a skip connection that halves a map of odd size pads the top left",
        here="it pads the bottom right and shifts one of the two parts",
        why="all networks share one factorized reduction",
        where="T-NAS, released code",
        when={"network": "tnas"},
    ),
)

_TNAS = (_GUARD, *_RETRAINING, *_TNAS_NETWORK)

_TNAS_PLUS = (
    *_TNAS,
    SourceDeviation(
        source="MAML++ trains the decoded networks; its settings are not stated",
        here="those of MAML++ on MiniImagenet, with rates that start at 0.1 and without an "
        "ensemble of checkpoints",
        why="T-NAS tests the weights that are best on validation",
        where="T-NAS, experiments",
    ),
)

_AUTO_MAML = (
    _GUARD,
    SourceDeviation(
        source="the weights are trained on half of the meta-train classes, the logits on the other "
        "half",
        here="one half of each meta-batch trains the weights, the other half the logits, both on "
        "tasks of all classes",
        why="a learner gets tasks, and does not choose their classes",
        where="T-NAS, Auto-MAML",
        when={"learner.arch_tasks": "half"},
    ),
    SourceDeviation(
        source="4 tasks train the weights and 4 the logits in each meta-step of the search",
        here="2 and 2",
        why="the meta-batch has as many tasks in the search as later, where the source has 4",
        where="T-NAS, Auto-MAML",
        when={"learner.arch_tasks": "half", "budget.meta_batch": 4},
    ),
    SourceDeviation(
        source="the decoded network is trained with a weight decay of 3e-4",
        here="without weight decay",
        why="it is trained as the networks of T-NAS are",
        where="T-NAS, released script",
    ),
    *_TNAS_NETWORK,
)

_ONE_SHOT = (
    SourceDeviation(
        source="the pruned model keeps the soft weights of the operations that stay",
        here="they are set to 1, and the weights of pairs of inputs are dropped",
        why="appendix A.1 prunes as Liu et al. do, and their decoded networks have no such weights",
        where="MetaNAS, appendix A.1 and released code",
    ),
)

_DEVIATIONS: dict[str, tuple[SourceDeviation, ...]] = {
    "maml": (_GUARD, _NORM),
    "mtnet": (_GUARD, _NORM),
    "random-search-maml": (_GUARD,),
    "metanas-maml": (_GUARD,),
    "bmaml": (
        _GUARD,
        SourceDeviation(
            source="the repulsion of particles has the factor 1/h",
            here="it has the factor 2/h",
            why="2/h is the derivative of the kernel",
            where="BMAML, released code",
        ),
    ),
    "mumomaml": (
        _GUARD,
        SourceDeviation(
            source="the weights of the network start from N(0, 0.01^2), the biases at 0",
            here="both start from U(-a, a) with a = 1/sqrt(inputs), as for all learners",
            why="four hidden layers hardly learn from the source's small weights",
            where="MMAML, released code for regression",
            when={"task": "regression", "network": "mlp", "network.init": "default"},
        ),
        SourceDeviation(
            source="on images the network has four convolutions of stride 2 with 32, 64, 128 and "
            "256 channels",
            here="it is the suite's network",
            why="the tables of other papers have it on Conv-4 with 32 filters",
            where="MMAML, released code for classification",
            when={"task": "classification", "network": "conv4"},
        ),
    ),
    "hsml": _HSML,
    "hsml-notree": _HSML,
    "mnas": _MNAS + _MNAS_PER_TASK,
    "mnas-nm": _MNAS + _MNAS_PER_TASK,
    "mnas-shared": _MNAS,
    "mnas-shared-m": (*_MNAS, _SHARED_M),
    "mnas-shared-nm": _MNAS,
    "mnas-low-rank": (*_MNAS, *_MNAS_PER_TASK, _LOW_RANK),
    "maml++": _MAML_PLUS,
    "tnas": _TNAS,
    "tnas++": _TNAS_PLUS,
    "auto-maml": _AUTO_MAML,
    "one-shot": _ONE_SHOT,
    "reptile": _REPTILE,
    "metanas": _METANAS,
    "random-search": _METANAS_NETWORK,
    "anil": (_GUARD,),
    "nil": (_GUARD,),
    "meta-sgd": (_GUARD, _META_SGD),
    "protonet": (_GUARD, _METRIC, _TRAIN_WAYS),
    "leo": _LEO,
    "tadam": _TADAM,
    "baseline": (_GUARD, *_FINETUNED),
    "baseline++": (_GUARD, *_FINETUNED),
    "matching-net": (_GUARD, _METRIC),
    "r2d2": _R2D2,
    "metaoptnet": _METAOPTNET,
    "metaoptnet-ridge": _METAOPTNET,
    "metanas-retrain": _METANAS_NETWORK,
    "auto-meta": _METANAS_NETWORK,
}
"""By name of the learner."""


def deviations_of(learner: str) -> tuple[SourceDeviation, ...]:
    """What a learner does otherwise than its source; nothing if it does all as the source."""
    return _DEVIATIONS.get(learner, ())
