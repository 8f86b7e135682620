"""Claims of workload identities as GitHub, GitLab and Kubernetes make them, and settings for them."""

WORKLOADS = {
    "github": {
        "iss": "https://token.actions.githubusercontent.com",
        "claims": {
            "sub": "repo:acme/app:ref:refs/heads/main",
            "repository": "acme/app",
            "repository_owner": "acme",
            "ref": "refs/heads/main",
            "ref_protected": "true",
            "environment": "prod-1",
            "runner_environment": "github-hosted",
            "jti": "x",
        },
        "require": {"repository_owner": "acme", "ref": "refs/heads/**"},
        "names": ["repository"],
        "identity": "github:repo:acme/app:ref:refs/heads/main",
        "rule": "claim:repository=acme/*",
        "broken": {"repository_owner": "evil"},
    },
    "gitlab": {
        "iss": "https://gitlab.example.com",
        "claims": {
            "sub": "project_path:acme/app:ref_type:branch:ref:main",
            "namespace_path": "acme",
            "project_path": "acme/app",
            "project_id": "42",
            "ref": "main",
            "ref_protected": "true",
            "user_login": "jane",
        },
        "require": {"namespace_path": "acme", "ref_protected": "true"},
        "names": ["project_path", "project_id"],
        "identity": "gitlab:project_path:acme/app:ref_type:branch:ref:main",
        "rule": "claim:project_id=42",
        "broken": {"ref_protected": "false"},
    },
    "kubernetes": {
        "iss": "https://kubernetes.default.svc",
        "claims": {
            "sub": "system:serviceaccount:shop:puller",
            "kubernetes.io": {
                "namespace": "shop",
                "serviceaccount": {"name": "puller", "uid": "u"},
            },
        },
        "require": {"kubernetes.io/namespace": "shop"},
        "names": ["kubernetes.io/serviceaccount/name"],
        "identity": "kubernetes:system:serviceaccount:shop:puller",
        "rule": "claim:kubernetes.io/serviceaccount/name=puller",
        "broken": {"kubernetes.io": {"namespace": "other"}},
    },
}
