/** What the tests read of Kubernetes' objects; `schema.ts` checks all of it. */
export type Labels = Readonly<Record<string, string>>;

export type Probe = { readonly httpGet?: { readonly path?: string; readonly port?: string | number } };

export type EnvironmentVariable = {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly resourceFieldRef?: { readonly resource: string };
  };
};

export type Container = {
  readonly name: string;
  readonly image?: string;
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly env?: readonly EnvironmentVariable[];
  readonly envFrom?: readonly { readonly configMapRef?: { readonly name: string } }[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly lifecycle?: { readonly preStop?: { readonly sleep?: { readonly seconds: number } } };
  readonly resources?: {
    readonly requests?: Readonly<Record<string, string | number>>;
    readonly limits?: Readonly<Record<string, string | number>>;
  };
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
  };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
};

export type PodSpec = {
  readonly containers: readonly Container[];
  readonly automountServiceAccountToken?: boolean;
  readonly enableServiceLinks?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly securityContext?: {
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: { readonly type: string };
  };
  readonly topologySpreadConstraints?: readonly { readonly labelSelector?: { readonly matchLabels?: Labels } }[];
  readonly volumes?: readonly { readonly name: string; readonly emptyDir?: object }[];
};

/** Of a NetworkPolicy: from each of these to each of these ports; from anywhere, to every port, where there are none. */
export type IngressRule = {
  readonly from?: readonly Peer[];
  readonly ports?: readonly {
    readonly port?: string | number;
    readonly protocol?: string;
    readonly endPort?: number;
  }[];
};

/** Without a selector of namespaces, pods of the policy's own. */
export type Peer = {
  readonly podSelector?: { readonly matchLabels?: Labels };
  readonly namespaceSelector?: { readonly matchLabels?: Labels };
};

export type Manifest = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Labels };
  /** Of a ConfigMap. */
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly replicas?: number;
    readonly template?: { readonly metadata?: { readonly labels?: Labels }; readonly spec: PodSpec };
    /** `matchLabels` of a Deployment and a disruption budget; plain labels of a Service. */
    readonly selector?: { readonly matchLabels?: Labels } & { readonly [label: string]: unknown };
    readonly clusterIP?: string;
    readonly ports?: readonly {
      readonly name?: string;
      readonly port: number;
      readonly targetPort?: string | number;
    }[];
    readonly scaleTargetRef?: { readonly kind?: string; readonly name: string };
    readonly maxUnavailable?: number | string;
    readonly unhealthyPodEvictionPolicy?: string;
    /** This and the rest: of a NetworkPolicy. */
    readonly podSelector?: { readonly matchLabels?: Labels };
    readonly policyTypes?: readonly string[];
    readonly ingress?: readonly IngressRule[];
  };
};
