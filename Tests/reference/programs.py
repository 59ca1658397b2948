"""PyTorch's side of the programs in Tests/ApusTrainingTests/Programs: a GAN, a DQN, pre-training and
fine-tuning, batch norm applied twice, a variational autoencoder.

    programs.py     writes their curves to Tests/ApusTrainingTests/Reference/programs.json

Run by hand, with PyTorch installed; the result is committed. Weights and data come from SplitMix64, by the
same formulas on both sides (see ProgramData.swift): parameter i of a program, in the order of its model's
declarations, is uniform(100 + i) over the root of its fan-in.
"""

import copy
import json
import math
import pathlib

import torch
from torch import nn
from torch.nn import functional as F

from loss_curves import uniform

CURVES = pathlib.Path(__file__).parent.parent / "ApusTrainingTests" / "Reference" / "programs.json"
DTYPE = torch.float64


def data(seed, *shape):
    return torch.tensor(uniform(seed, math.prod(shape)).reshape(shape), dtype=DTYPE)


def filled(model, first=100):
    """Gives all parameters their values; biases take the fan-in of the weight before them."""
    fan = 1
    for index, parameter in enumerate(model.parameters()):
        if parameter.dim() > 1:
            fan = parameter.shape[1]
        with torch.no_grad():
            parameter.copy_(data(first + index, *parameter.shape) / math.sqrt(fan))
    return model.to(DTYPE)


def mlp(*widths):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).to(DTYPE)


def gan():
    model = filled(nn.ModuleList([mlp(4, 16, 2), mlp(2, 16, 1)]).to(DTYPE))
    generator, discriminator = model
    adam_g = torch.optim.Adam(generator.parameters(), lr=0.01, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=0.02, betas=(0.5, 0.999))
    curve = []
    bce = F.binary_cross_entropy_with_logits
    for step in range(40):
        real = data(step, 16, 2) * 0.5 + 1
        noise = data(1000 + step, 16, 4)
        fake = generator(noise).detach()
        d_real, d_fake = discriminator(real), discriminator(fake)
        d_loss = bce(d_real, torch.ones_like(d_real)) + bce(d_fake, torch.zeros_like(d_fake))
        adam_d.zero_grad()
        d_loss.backward()
        adam_d.step()
        score = discriminator(generator(noise))
        g_loss = bce(score, torch.ones_like(score))
        adam_g.zero_grad()
        g_loss.backward()
        adam_g.step()
        curve += [d_loss.item(), g_loss.item()]
    return curve


def dqn():
    online = filled(mlp(3, 16, 2))
    target = copy.deepcopy(online)
    adam = torch.optim.Adam(online.parameters(), lr=0.01)
    curve = []
    for step in range(60):
        s, s2 = data(step, 8, 3), data(1000 + step, 8, 3)
        a = (data(2000 + step, 8) > 0).long()
        r, done = data(3000 + step, 8), (data(4000 + step, 8) > 0.5).to(DTYPE)
        with torch.no_grad():
            goal = r + 0.9 * (1 - done) * target(s2).max(1).values
        q = online(s).gather(1, a[:, None])[:, 0]
        loss = F.mse_loss(q, goal)
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            for t, p in zip(target.parameters(), online.parameters()):
                t.lerp_(p, 0.1)
        curve.append(loss.item())
    return curve


def fine_tuning():
    encoder, decoder, head = (filled(mlp(*w), f) for w, f in
                              [((4, 8), 100), ((8, 4), 102), ((8, 3), 104)])
    curve = []
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.02)
    for step in range(20):
        x = data(step, 8, 4)
        loss = F.mse_loss(decoder(torch.tanh(encoder(x))), x)
        adam.zero_grad()
        loss.backward()
        adam.step()
        curve.append(loss.item())
    adam = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=0.02, weight_decay=0.1)
    for step in range(30):
        x = data(1000 + step, 8, 4)
        labels = torch.argmax(x[:, :3], dim=1)
        encoder[0].weight.requires_grad_(step >= 20)
        encoder[0].bias.requires_grad_(step >= 10)
        loss = F.cross_entropy(head(torch.tanh(encoder(x))), labels)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        curve.append(loss.item())
    return curve


def batch_norm():
    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 6)
            self.norm = nn.BatchNorm1d(6)
            self.last = nn.Linear(6, 1)

        def forward(self, x):
            return self.last(torch.tanh(self.norm(self.first(x))))

    model = Siamese().to(DTYPE)
    filled(model.first, 100)
    filled(model.last, 102)
    sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    curve = []
    for step in range(30):
        a, b = data(step, 8, 4), data(1000 + step, 8, 4) + 0.5
        y = a[:, :1] - b[:, :1]
        loss = F.mse_loss(model(a) - model(b), y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        curve.append(loss.item())
    model.eval()
    a, b = data(5000, 8, 4), data(5001, 8, 4) + 0.5
    curve.append(F.mse_loss(model(a) - model(b), a[:, :1] - b[:, :1]).item())
    return curve + model.norm.running_mean.tolist() + model.norm.running_var.tolist()


def vae():
    encoder, decoder = filled(mlp(6, 8, 4), 100), filled(mlp(2, 8, 6), 104)
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.02)
    curve = []
    for step in range(50):
        x, noise = data(step, 8, 6), data(1000 + step, 8, 2)
        mean, log_variance = encoder(x).chunk(2, dim=1)
        z = mean + noise * torch.exp(0.5 * log_variance)
        kl = -0.5 * (1 + log_variance - mean ** 2 - log_variance.exp()).sum(1).mean()
        loss = F.mse_loss(decoder(z), x) + 0.1 * kl
        adam.zero_grad()
        loss.backward()
        adam.step()
        curve.append(loss.item())
    return curve


if __name__ == "__main__":
    torch.set_num_threads(1)
    programs = [gan, dqn, fine_tuning, batch_norm, vae]
    CURVES.write_text(json.dumps({p.__name__: p() for p in programs}, sort_keys=True) + "\n")
